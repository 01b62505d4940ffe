"""What continuous integration calls: previews as comments that a reviewer reads in half a minute."""
