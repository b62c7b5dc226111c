"""What a queue needs that lives outside the process, whatever it lives in.

`queue` is the shell, `store` what it asks of an engine, `codec` how keys and values travel.
"""
