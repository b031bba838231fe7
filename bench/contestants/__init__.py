"""The contestants: each module is loaded in a process of its own, and imports what it measures."""
