"""What the routes answer and the clients read: one view for each JSON body."""
