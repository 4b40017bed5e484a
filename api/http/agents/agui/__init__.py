"""AG-UI 1.0: a thread for the components that speak it."""
