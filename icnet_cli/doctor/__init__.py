"""`icnet doctor`: what this machine has, and whether every way of running a network here agrees."""
