"""One architecture a file, one file a paper."""
