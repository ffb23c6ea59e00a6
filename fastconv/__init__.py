"""Hand-optimised convolution, pooling and their gradients for NumPy arrays."""
