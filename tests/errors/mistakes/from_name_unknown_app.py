# a function of an app that is not deployed
import moorage as modal

f = modal.Function.from_name("shop", "f")
f.remote(1)
