"""From a batch to a labelling tool and back: files out, files in, ids kept."""
