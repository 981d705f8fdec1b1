# a method looked up as a function
import moorage as modal

f = modal.Function.from_name("shop", "Model.predict")
