"""FER2013 and FER+ in their various forms: read, checked, described, and the faces in the pictures found."""
