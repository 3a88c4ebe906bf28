"""What self-contained pages have in common: colours, figures, small pictures, templates."""
