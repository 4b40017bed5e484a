"""What a caller of agents holds, over HTTP or within the cluster."""
