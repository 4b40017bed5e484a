"""Topics and queues: the logs that the broker keeps, and both ends of the way to it."""
