"""Files and objects of other machines: who may be asked, and how."""
