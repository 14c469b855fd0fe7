"""How much has been learnt about these people, and may this run learn more?"""
