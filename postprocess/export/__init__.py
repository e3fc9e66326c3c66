"""H, S and r for other programs: one file a format, one table of them (:mod:`postprocess.export.formats`)."""
