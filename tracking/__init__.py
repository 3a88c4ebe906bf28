"""What is remembered: MLflow runs, models, and the registry.

This package needs mlflow and matplotlib, and no Ray. `tracking.recorder` is the only code that
writes to MLflow while folds are trained; `tracking.promote` and `tracking.predict` are commands.
"""
