"""Organizations, as their members see, rename and delete them."""
