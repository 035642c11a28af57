"""What must stay fast and good, side by side with what people would use instead. `make bench` runs it all."""
