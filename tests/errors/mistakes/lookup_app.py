# an app that is not deployed is looked up
import moorage as modal

modal.App.lookup("shop")
