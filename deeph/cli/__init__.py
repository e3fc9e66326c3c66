"""The commands ``deeph-train`` and ``deeph-infer``, and what all commands share."""
