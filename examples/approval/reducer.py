from __future__ import annotations

from onex import Action, Nothing, Step, reducer

from .payloads import Answer, Expense, Letter, Payment, Request

expenses = reducer(Expense)
ASKED = {"remind": "manager", "escalate": "boss"}


@expenses.on("hand_in")
def hand_in(expense: Expense, action: Action[Request]) -> Step[Expense]:
    expense = expense.evolve(who=action.payload.who, cents=action.payload.cents)
    return Step(expense, Letter(to="manager", text=f"{expense.who} asks for {expense.cents} cents"))


@expenses.on("remind", "escalate")
def ask_again(expense: Expense, action: Action[Nothing]) -> Step[Expense]:
    return Step(expense, Letter(to=ASKED[action.kind], text=f"{expense.who} still waits for {expense.cents} cents"))


@expenses.on("approve")
def approve(expense: Expense, action: Action[Answer]) -> Step[Expense]:
    return Step(expense.evolve(decided_by=action.payload.by), Payment(to=expense.who, cents=expense.cents))


@expenses.on("refuse")
def refuse(expense: Expense, action: Action[Answer]) -> Step[Expense]:
    said = Letter(to=expense.who, text=f"{action.payload.by} says no")
    return Step(expense.evolve(decided_by=action.payload.by), said)
