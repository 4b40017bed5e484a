"""Tools for the exams: nothing that they are about is ever shown in training."""

from __future__ import annotations

from actors.pocket.requests import ACTIONS, ACTIONS_ON_TWO, QUESTIONS, QUESTIONS_ALONE, QUESTIONS_ON_TWO
from actors.pocket.tools import Tool

UNSEEN_TOOLS = (
    Tool("get_exchange_rate", (("currency", "thing"),), "Get the exchange rate of a currency.", "get", "exchange rate", QUESTIONS),
    Tool("get_stock_quote", (("company", "thing"),), "Latest stock quote for a listed company", "get", "stock quote", QUESTIONS),
    Tool("find_recipe", (("dish", "thing"),), "Finds a recipe for a dish.", "find", "recipe", QUESTIONS),
    Tool("humidity", (("city", "place"),), "Current humidity in percent", "get", "humidity", QUESTIONS),
    Tool("population_lookup", (("place", "place"),), "Population of a town or country, from the last census.", "look up", "population", QUESTIONS),
    Tool("get_forecast", (("location", "place"),), "", "get", "forecast", QUESTIONS),
    Tool("track_parcel", (("recipient", "person"),), "Where a parcel is right now.", "track", "parcel", ACTIONS),
    Tool("cancel_subscription", (("customer", "person"),), "Cancels the subscription of a customer.", "cancel", "subscription", ACTIONS),
    Tool("book_flight", (("origin", "place"), ("destination", "place")), "Book a flight between two airports.", "book", "flight", ACTIONS_ON_TWO),
    Tool("get_timetable", (("origin", "place"), ("destination", "place")), "Departures by bus and ferry", "get", "timetable", QUESTIONS_ON_TWO),
    Tool("create_invoice", (("customer", "person"), ("total", "number")), "Creates an invoice.", "create", "invoice", ACTIONS_ON_TWO),
    Tool("set_thermostat", (("target", "number"),), "Set the thermostat at home.", "set", "thermostat", ACTIONS),
    Tool("getHoroscope", (("sign", "thing"),), "Today's horoscope for a star sign.", "get", "horoscope", QUESTIONS),
    Tool("fn_7", (("river", "thing"),), "Reads the altitude from a sensor.", "read", "altitude", QUESTIONS),
    Tool("pollen_count", (("area", "place"),), "Pollen in the air: grass, birch and hazel.", "check", "pollen", QUESTIONS),
    Tool("get_tides", (("harbour", "place"),), "High and low tide tables.", "get", "tide", QUESTIONS),
    Tool("battery_status", (), "How full the battery is.", "check", "battery", QUESTIONS_ALONE),
    Tool("read_inbox", (), "Unread things in the inbox", "read", "inbox", QUESTIONS_ALONE),
    Tool("list_deadlines", (), "Every deadline that is ahead.", "list", "deadline", QUESTIONS_ALONE),
    Tool("get_uptime", (), "Uptime of this server", "get", "uptime", QUESTIONS_ALONE),
    Tool("send_reminder", (("to", "person"),), "Send a reminder to somebody.", "send", "reminder", ACTIONS),
    Tool("play_playlist", (("title", "thing"),), "Plays a playlist.", "play", "playlist", ACTIONS),
    Tool("reserve_table", (("guest", "person"),), "Makes a reservation at the restaurant", "make", "reservation", ACTIONS),
    Tool("renew_passport", (("holder", "person"),), "Renew a passport before it expires.", "renew", "passport", ACTIONS),
    Tool("salary_info", (("employee", "person"),), "Monthly salary of an employee", "get", "salary", QUESTIONS),
    Tool("get_birthday", (("person", "person"),), "Looks up a birthday.", "get", "birthday", QUESTIONS),
    Tool("visa_rules", (("nation", "place"),), "Which visa is needed for a nation.", "check", "visa", QUESTIONS),
    Tool("find_pharmacy", (("district", "place"),), "Nearest pharmacy that is open at night.", "find", "pharmacy", QUESTIONS),
    Tool("calorie_counter", (("meal", "thing"),), "Energy in a meal, per calorie.", "count", "calorie", QUESTIONS),
    Tool("toll_calculator", (("start", "place"), ("end", "place")), "Toll to pay on motorways.", "get", "toll", QUESTIONS_ON_TWO),
    Tool("transfer_funds", (("payer", "person"), ("payee", "person")), "Transfer funds between two clients.", "transfer", "funds", ACTIONS_ON_TWO),
    Tool("assign_ticket_7", (("agent", "person"),), "Assign the incident to an agent on duty.", "assign", "incident", ACTIONS),
    Tool("x_load", (("server", "thing"),), "Bandwidth in use by one server.", "get", "bandwidth", QUESTIONS),
    Tool("latency", (("host", "thing"),), "Measures latency in milliseconds.", "measure", "latency", QUESTIONS),
    Tool("unlock_vault", (("code", "number"),), "Unlock the vault.", "unlock", "vault", ACTIONS),
    Tool("get_warranty", (("serial", "number"),), "Warranty that is left on a device.", "get", "warranty", QUESTIONS),
)  # fmt: skip
UNSEEN_WORDS = frozenset(word for tool in UNSEEN_TOOLS for word in tool.noun.split())
