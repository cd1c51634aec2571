"""What ends when the owner of an address proves to be its owner for the first time."""
