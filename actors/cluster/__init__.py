"""What a caller on the cluster holds, and how its actors are started."""
