# a misspelt argument of App
import moorage as modal

app = modal.App(nam="shop")
