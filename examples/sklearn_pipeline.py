"""Use a learned distance in a scikit-learn pipeline.

A nearest-neighbour classifier is as good as its distance. Here it compares wines by standardised columns,
after a linear map (LMNN), and after a small network (TripletEmbedding), each learned from the training rows.

    python examples/sklearn_pipeline.py
"""

from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trine import LMNN, TripletEmbedding

rows, cultivars = load_wine(return_X_y=True)
models = {
    "standardised columns": make_pipeline(StandardScaler(), KNeighborsClassifier(3)),
    "LMNN": make_pipeline(StandardScaler(), LMNN(n_neighbors=3), KNeighborsClassifier(3)),
    "TripletEmbedding": make_pipeline(TripletEmbedding(8, epochs=20), KNeighborsClassifier(3)),
}
for name, model in models.items():
    accuracy = cross_val_score(model, rows, cultivars, cv=5).mean()
    print(f"{name}: accuracy {accuracy:.3f}")
