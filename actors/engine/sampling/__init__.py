"""From logits to one token for each row: penalties, constraints, filters, draws."""
