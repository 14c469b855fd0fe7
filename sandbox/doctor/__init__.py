"""Is this machine fit, part by part?"""
