"""The directory: which model actors there are, and where each session and inferlet is."""
