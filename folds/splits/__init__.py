"""Who is validated where: stratified folds that cut no group, and the file that keeps them."""
