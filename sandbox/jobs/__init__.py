"""What has to be done, by whom, and is it being done?"""
