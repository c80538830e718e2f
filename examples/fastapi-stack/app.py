"""Scores loan applications. Nothing here counts or times calls: Scoretap does that in the sidecar."""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()


class Application(BaseModel):
    income: float
    amount: float


@app.post("/predict")
def predict(application: Application) -> dict[str, list[str]]:
    if application.income <= 0:
        raise HTTPException(status_code=400, detail="income must be above 0")
    answer = "approve" if application.amount < 4 * application.income else "review"
    return {"predictions": [answer]}
