"""The FIFOs between plugins: `mesh` holds and watches them, `links` are the names that sandboxes grant."""
