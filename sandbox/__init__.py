"""The sandbox: data comes in, models are trained on it privately, and only releases leave.

Importing this package loads no engine (torch, mlflow, opacus, streamlit): each has one door
that opens on first use.
"""
