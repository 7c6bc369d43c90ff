"""What the Engram module does without a widget: it knows neither Qt nor the `slicer` module, and runs on Python 3.9.

- `errors`: what goes wrong, in the words of the server.
- `client`: the server's API and DICOMweb. `jobs`: a job from its start to its end. `upload`: files to the server.
- `geometry`: the slices of a series, and where they lie in a volume of Slicer.
- `coding`: what a segment is, in codes. `dicom_seg`: DICOM-SEG to masks and back. `as_dicom`: a volume as a DICOM series.
- `target`: the series that is to be segmented. `confidence` and `provenance`: what a result is worth, and what it was drawn from.
- `teach`: which slices were edited, and what goes back to the server.
- `mrml`: volume and segmentation nodes, through the classes that it is handed.
- `tasks`: work beside the event loop. `settings`: what is remembered. `words`: what the panel says.
"""

VERSION = "0.1.0"
