"""The journal on PostgreSQL (extra ``postgres``)."""
