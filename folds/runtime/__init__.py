"""What a worker computes on: device and precision, processor, other workers, what is fastest."""
