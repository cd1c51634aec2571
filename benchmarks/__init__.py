"""What the product promises in figures, measured on the machine at hand: `make bench`."""
