"""What the Makefile calls: the installers, the environment of the local stacks, bring-up and tear-down."""
