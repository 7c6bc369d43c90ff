//! Joins the rooms below: what happens when an instance arrives and what a segmentation job does. Knows
//! nothing of HTTP, DIMSE or sled.
