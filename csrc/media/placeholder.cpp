namespace ove {}
