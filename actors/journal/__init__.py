"""The journal: where sessions are kept so that they outlive their actors, with fencing by epoch."""
