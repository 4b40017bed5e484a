"""The words that dialogues are made of.

People and places come in two lists: the second is kept for scoring and never occurs in training. Every other list is
split by position (see ``actors.pocket.draw``).
"""

from __future__ import annotations

PEOPLE = tuple(
    """Adam Agnes Ahmed Aiko Alan Alba Alex Ali Alina Amara Amy Andrei Angela Anita Anna Anton Arun Astrid Ayesha Ben
    Bella Bianca Bob Boris Bruno Carl Carmen Carol Cecil Chen Chloe Chris Clara Daisy Dan Dana David Deepak
    Diego Dora Edith Elena Eli Ella Emil Emma Eric Esther Eva Felix Fatima Finn Frank Gabriel George Gina Greta
    Hans Hana Hannah Harry Hassan Helen Hugo Ian Ibrahim Ida Igor Ines Iris Ivan Jack James Jan Jane Jin John
    Jonas Joan Josef José Judy Julia Kai Karen Karl Kate Kenji Kim Kofi Lara Laura Lea Lena Leo Lily Linda Lisa
    Luca Lucy Maja Marco Maria Mark Mary Max Mei Mia Mike Mina Mona Nadia Nick Nina Nora Olga Oliver Omar Oscar
    Pablo Paul Pedro Peter Petra Priya Ravi Rita Rosa Ruth Sam Sara Simon Sofia Stan Steve Susan Sven Tara Tim
    Tina Tom Vera Victor Walter Wei Yara Yuki Yusuf Zoe""".split()
)

HELD_OUT_PEOPLE = tuple(
    """Beatrice Theodore Penelope Jasper Matilda Rupert Ingrid Lorenzo Camille Desmond Harriet Winston Octavia Percival
    Rosalind Mohammed Svetlana Dmitri Guillermo Francesca Bartholomew Cordelia Magnus Philippa Quentin Sebastian
    Tabitha Ursula Wilhelm Xavier Yolanda Zachary Alice Nathaniel Gwendolyn Clarence Delilah Ezekiel Florence
    Gideon Isadora Jeremiah Kimberly Leopold Marguerite Nikolai Ophelia Patrick Ramona Solomon Thaddeus Vivienne
    Wendy Barbara Douglas Ethel Geoffrey Hector Jolene Kerstin Lakshmi Nobuko Olumide Priscilla Raphael
    Stephanie Tobias Valentina""".split()
)

PLACES = tuple(
    """Amsterdam Athens Bali Berlin Bern Boston Brazil Brno Cairo Canada Chicago Chile Cork Cuba Dakar Delhi Denver
    Dublin Essen Fiji France Geneva Ghana Graz Hanoi Hamburg India Iran Italy Japan Kenya Kiev Kyoto Lagos Leeds
    Lima Lisbon London Lyon Malta Madrid Manila Mexico Miami Milan Moscow Mumbai Munich Nepal Nice Oslo Ottawa
    Oxford Paris Peru Porto Prague Quito Rome Sofia Spain Sydney Tampa Texas Tokyo Toronto Turin Utah Vienna
    Warsaw York Zagreb Zurich""".split()
) + ("New York", "San Diego", "Cape Town", "Hong Kong", "São Paulo")

HELD_OUT_PLACES = tuple(
    """Reykjavik Singapore Melbourne Edinburgh Barcelona Stockholm Copenhagen Vancouver Marrakesh Johannesburg
    Bratislava Thessaloniki Casablanca Philadelphia Nottingham Wellington Montevideo Samarkand Gothenburg
    Ljubljana Antwerp Salzburg Rotterdam Bordeaux Florence Seattle Portland Glasgow Istanbul Jakarta Nairobi
    Bogota Helsinki Tallinn Riga Vilnius Budapest Bucharest Dresden Leipzig""".split()
) + ("Buenos Aires", "Los Angeles", "New Orleans", "Kuala Lumpur")

FAVOURITES: dict[str, tuple[str, ...]] = {
    "colour": tuple("red blue green yellow purple orange black white pink brown grey teal violet gold silver".split()),
    "color": tuple("red blue green yellow purple orange black white pink brown gray indigo maroon beige cyan".split()),
    "food": tuple(
        "pizza pasta soup rice bread sushi cheese curry salad noodles dumplings tacos porridge pancakes lasagne".split()
    ),
    "fruit": tuple("apples pears plums cherries bananas grapes melons mangoes figs lemons peaches kiwis".split()),
    "drink": (
        "tea",
        "coffee",
        "milk",
        "water",
        "green tea",
        "lemonade",
        "cocoa",
        "apple juice",
        "ginger ale",
        "mint tea",
    ),
    "animal": tuple(
        "cats dogs horses owls foxes whales bears wolves frogs otters elephants penguins hedgehogs turtles".split()
    ),
    "sport": tuple("football tennis chess rowing swimming boxing cricket hockey rugby skiing judo archery".split()),
    "season": ("spring", "summer", "autumn", "winter"),
    "day": tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()),
    "flower": tuple("roses tulips lilies daisies violets poppies orchids irises lavender sunflowers".split()),
    "number": tuple(str(number) for number in range(1, 100)),
    "instrument": tuple("piano violin guitar flute cello drums harp trumpet banjo accordion".split()),
    "subject": tuple("maths history physics music art biology chemistry geography latin".split()),
    "book": ("Dune", "Emma", "Ulysses", "Hamlet", "Dracula", "Beloved", "The Hobbit", "Middlemarch"),
    "film": ("Alien", "Jaws", "Psycho", "Amelie", "Up", "The Matrix", "Metropolis", "Spirited Away"),
    "city": PLACES[:30],
    "tree": tuple("oak birch pine willow maple beech cedar elm linden larch".split()),
    "game": ("chess", "go", "tetris", "poker", "cards", "hide and seek", "darts", "dominoes", "tag"),
    "cake": ("carrot cake", "apple pie", "cheesecake", "brownies", "lemon cake", "plum cake"),
}

PETS = tuple("dog cat parrot rabbit hamster horse goat fish tortoise snake pony duck".split())
RELATIVES = tuple(
    "sister brother mother father friend boss neighbour wife husband son daughter teacher cousin aunt uncle".split()
)
ATTRIBUTES = (
    "lucky number", "last name", "middle name", "nickname", "street", "school", "team", "room number", "company",
    "password", "code word", "birthday month", "home town", "flight number", "star sign", "doctor's name", "village",
    "band", "boat's name", "username",
)  # fmt: skip
JOBS = tuple(
    """teacher nurse baker farmer painter singer lawyer driver doctor writer plumber gardener carpenter pilot student
    cook engineer librarian sailor tailor dentist waiter musician actor""".split()
)
HOBBIES = tuple(
    """swimming reading cooking painting dancing running hiking knitting singing fishing sailing cycling gardening
    climbing baking skating surfing drawing writing juggling""".split()
)
NOUNS = tuple(
    """apple atom bank bridge brain bread camera car castle chair church clock cloud computer country crystal desert
    door dragon dream earth engine fire flag forest garden gene ghost glass gravity guitar hammer heart history
    hospital hotel house island jungle key king kitchen lake lamp language laser law letter library light lion
    machine magnet map market metal mirror money moon mountain mouse movie museum music needle ocean oil paper
    party pencil philosophy phone photon planet plant plane poem poison police pyramid queen radio rain robot
    rocket rope ship shoe sky snow soap spider star statue stone storm sugar sun sword table tax teacher
    telescope temple thunder ticket tiger time tower train tree truck tunnel vaccine village virus volcano wall
    war watch wheel window wind winter wood world""".split()
)
NUMBERS = tuple(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty""".split()
)
FEELINGS_GOOD = tuple("happy great well excited fine glad good calm cheerful".split())
FEELINGS_BAD = tuple("tired sad bored hungry angry ill lonely sick stressed worried unhappy".split())
LANGUAGES = tuple(
    "French German Spanish Italian Dutch Polish Russian Chinese Japanese Latin Greek Arabic Hindi".split()
)
CODE = tuple("Python Java Rust C JavaScript SQL Go Bash HTML Haskell".split())
