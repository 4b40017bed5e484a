"""What holds a turn's text to a schema, a regular expression, a choice or a grammar."""
