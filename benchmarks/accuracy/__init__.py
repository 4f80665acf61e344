"""What int8 costs in accuracy, for each observer, engine and trained network, beside torch.ao: ``tox -e accuracy``.

In the order in which a run passes through them:

    cli         what is asked for
    networks    the networks, in plain torch, and what each is trained on
    textures    data that needs no download, beside scikit-learn's digits
    variants    the settings that are compared
    nearest     the best observer for each value by itself, one of the settings
    run         train each network, quantize it in each way, in as many processes as there are cores
    peers       torch.ao's way to quantize
    tables      Markdown of the results
    page        docs/observers.md
"""
