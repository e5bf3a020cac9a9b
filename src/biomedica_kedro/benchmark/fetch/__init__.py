"""Download what the benchmark's tasks are made of: only what is asked for, verified before it is used.

`sources` says what there is and where; `urls` and `hub` bring it here by pooch and huggingface_hub; `lock` pins what a
first download found; `fetch` puts them together.
"""
