"""An app whose module, in a container, calls things while it is imported."""

import moorage

app = moorage.App("at-import")
other = moorage.App("at-import-other")
kept = moorage.Dict.from_name("at-import", create_if_missing=True)

if not moorage.is_local():
    kept["imports"] = kept.get("imports", 0) + 1
    is_found = moorage.Dict.from_name("at-import").hydrate().object_id == kept.object_id
    of_other = moorage.Function.from_name("at-import-other", "triple").remote(4)


@other.function()
def triple(x):
    return 3 * x


@app.function()
def own(x):
    return x


if not moorage.is_local():
    try:
        own.remote(1)
    except moorage.exception.ExecutionError as error:
        refusal = str(error)


@app.function()
def seen():
    return kept["imports"], is_found, of_other, refusal
