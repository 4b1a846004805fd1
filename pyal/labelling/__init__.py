"""From a batch to a labelling tool and back. README.md leads through a day of it."""
