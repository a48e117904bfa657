"""The YAML files that the command line composes: one per command, groups in the folders beside it."""
