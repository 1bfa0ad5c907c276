"""From a file to a file: decode, network and encode at once."""
